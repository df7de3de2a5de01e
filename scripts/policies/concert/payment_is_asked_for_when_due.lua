local payment = use "lib.concert.payment"
local pay = breaker "payment"

return policy "payment is asked for when due" {
  service = "booking",
  on      = "PaymentDue",
  handle  = function(event)
    local booking = store.get("bookings", event.bookingId)
    if not booking then return end -- cancelled meanwhile
    -- Written as it is: should it be cancelled at this very moment, only one of the two goes through.
    store.update("bookings", booking.id, { status = booking.status })
    payment.ask_for(pay, booking, math.min(event.wait_ms * 2, config.payment_again_max_ms))
  end,
}
