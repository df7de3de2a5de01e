local payment = use "lib.bookstore.payment"

local payment_fields = { integer "orderId", integer "paymentId", text "payStatus" }

return {
  event "Payed"           { service = "payment", key = { order = "orderId" }, fields = payment_fields },
  event "PaymentFailed"   { service = "payment", key = { order = "orderId" }, fields = payment_fields },
  event "PaymentCanceled" { service = "payment", key = { order = "orderId" }, fields = payment_fields },

  -- Its rows come from the policy "payment is made when ordered"; a client may be faster.
  resource "payments" {
    service = "payment",
    rel     = "payment",
    fields  = {
      integer "orderId" { required = true, unique = true },
      number  "amount",
      text    "status",
      text    "type",
    },

    -- An order is paid once: whoever asks again gets the payment that is there.
    before_create = function(row)
      local existing = store.first("payments", { orderId = row.orderId })
      if not existing then row.status = payment.status_of(row.amount) end
      return existing
    end,

    on_create = payment.announce,
  },
}
