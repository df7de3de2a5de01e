local payment_fields = { integer "orderId", integer "paymentId", text "payStatus" }

return {
  event "Payed"           { service = "payment", key = { order = "orderId" }, fields = payment_fields },
  event "PaymentFailed"   { service = "payment", key = { order = "orderId" }, fields = payment_fields },
  event "PaymentCanceled" { service = "payment", key = { order = "orderId" }, fields = payment_fields },

  -- Its rows come from the policy "payment is made when ordered".
  resource "payments" {
    service = "payment",
    rel     = "payment",
    fields  = {
      integer "orderId" { required = true, index = true },
      number  "amount",
      text    "status",
      text    "type",
    },
  },
}
