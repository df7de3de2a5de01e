return {
  event "Paid" {
    service = "payment",
    key     = { order = "orderId" },
    fields  = { integer "id", integer "orderId", text "status", integer "customerId" },
  },

  resource "payments" {
    service = "payment",
    rel     = "payment",
    fields  = {
      integer "orderId" { required = true },
      text    "status",
      integer "customerId",
    },
    finders = { findByOrderId = { "orderId" } },

    on_create = function(payment)
      bus.emit("Paid", payment)
    end,
  },
}
