return {
  -- Asks for the payment of a booking through the breaker `pay`. When that cannot be done right now, it is done again
  -- after wait_ms.
  ask_for = function(pay, booking, wait_ms)
    pay:call(function()
      http.post("http://payment/payments", { bookingId = booking.id })
    end, function()
      bus.emit("PaymentDeferred", { bookingId = booking.id, wait_ms = wait_ms })
    end)
  end,
}
