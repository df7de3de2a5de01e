local payment_fields = { integer "id", integer "orderId", text "status", integer "customerId" }

return {
  event "Paid"        { service = "payment", key = { order = "orderId" }, fields = payment_fields },
  event "PayCanceled" { service = "payment", key = { order = "orderId" }, fields = payment_fields },

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

    on_update = function(payment, before)
      if payment.status == "PayCanceled" and before.status ~= "PayCanceled" then
        bus.emit("PayCanceled", payment)
      end
    end,
  },
}
