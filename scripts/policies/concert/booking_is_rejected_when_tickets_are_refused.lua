return policy "booking is rejected when tickets are refused" {
  service = "booking",
  on      = "TicketsRefused",
  handle  = function(event)
    local booking = store.update("bookings", event.bookingId, { status = "BookingRejected" })
    if booking then bus.emit("BookingRejected", booking) end
  end,
}
