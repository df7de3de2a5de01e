return policy "payment is canceled with its booking" {
  service = "payment",
  on      = { "BookingCanceled", "BookingRejected" },
  handle  = function(event)
    for _, payment in ipairs(store.find("payments", { bookingId = event.id })) do
      store.delete("payments", payment.id)
      bus.emit("PaymentCanceled", payment, { status = "PaymentCanceled" })
    end
  end,
}
