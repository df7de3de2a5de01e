local payment = use "lib.concert.payment"
local pay = breaker "payment"

local booking_fields = {
  integer "id", integer "concertId", integer "userId", text "status", integer "qty",
}

return {
  event "BookingRequested" { service = "booking", key = { booking = "id" }, fields = booking_fields },
  event "BookingApproved"  { service = "booking", key = { booking = "id" }, fields = booking_fields },
  event "BookingRejected"  { service = "booking", key = { booking = "id" }, fields = booking_fields },
  event "BookingCanceled"  { service = "booking", key = { booking = "id" }, fields = booking_fields },

  -- The payment could not be asked for; it is asked for again when PaymentDue fires.
  event "PaymentDeferred" {
    service = "booking",
    key     = { booking = "bookingId" },
    fields  = { integer "bookingId", integer "wait_ms" },
  },
  event "PaymentDue" {
    service = "booking",
    key     = { booking = "bookingId" },
    fields  = { integer "bookingId", integer "wait_ms" },
  },

  resource "bookings" {
    service = "booking",
    rel     = "booking",
    fields  = {
      integer "concertId" { required = true },
      integer "userId",
      text    "status",
      integer "qty" { min = 1, default = 1 },
    },

    -- A booking is accepted although it cannot be paid right now: the payment follows by itself.
    on_create = function(booking)
      payment.ask_for(pay, booking, config.payment_again_ms)
      bus.emit("BookingRequested", booking, { status = "BookingRequested" })
    end,

    on_delete = function(booking)
      bus.emit("BookingCanceled", booking, { status = "BookingCanceled" })
    end,
  },
}
