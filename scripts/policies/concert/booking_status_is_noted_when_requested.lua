return policy "booking status is noted when requested" {
  service = "booking",
  on      = "BookingRequested",
  handle  = function(event)
    local booking = store.get("bookings", event.id)
    if booking and booking.status == nil then
      store.update("bookings", event.id, { status = event.status })
    end
  end,
}
