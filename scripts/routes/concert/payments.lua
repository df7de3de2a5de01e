local payment_fields = { integer "id", integer "bookingId", text "status" }

return {
  event "PaymentRequested" { service = "payment", key = { booking = "bookingId" }, fields = payment_fields },
  event "PaymentApproved"  { service = "payment", key = { booking = "bookingId" }, fields = payment_fields },
  event "PaymentCanceled"  { service = "payment", key = { booking = "bookingId" }, fields = payment_fields },

  resource "payments" {
    service = "payment",
    rel     = "payment",
    fields  = {
      integer "bookingId" { required = true, unique = true },
      text    "status",
    },
    finders = { findByBookingId = { "bookingId" } },

    -- A booking is paid once: whoever asks again gets the payment that is there.
    before_create = function(payment)
      return store.first("payments", { bookingId = payment.bookingId })
    end,

    on_create = function(payment)
      bus.emit("PaymentRequested", payment, { status = "PaymentRequested" })
    end,

    -- A change that names no status is the payment itself.
    before_update = function(payment, _, context)
      if context.body.status == nil then payment.status = "PaymentApproved" end
    end,

    on_update = function(payment, before)
      if payment.status == "PaymentApproved" and before.status ~= "PaymentApproved" then
        bus.emit("PaymentApproved", payment)
      end
    end,

    on_delete = function(payment)
      bus.emit("PaymentCanceled", payment, { status = "PaymentCanceled" })
    end,
  },
}
