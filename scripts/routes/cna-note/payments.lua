return {
  event "Paid" {
    service = "payment",
    key     = { order = "orderId" },
    fields  = { integer "id", integer "orderId" },
  },

  resource "payments" {
    service = "payment",
    rel     = "payment",
    fields  = {
      integer "price",
      integer "orderId" { required = true },
    },

    on_create = function(payment)
      bus.emit("Paid", payment)
    end,
  },
}
