return policy "booking is approved when tickets are taken" {
  service = "booking",
  on      = "TicketsTaken",
  handle  = function(event)
    local booking = store.update("bookings", event.bookingId, { status = "BookingApproved" })
    if booking then bus.emit("BookingApproved", booking) end
  end,
}
