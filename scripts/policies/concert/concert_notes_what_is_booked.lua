return policy "concert notes what is booked" {
  service = "concert",
  on      = "BookingRequested",
  handle  = function(event)
    store.create("reservations", {
      bookingId = event.id, concertId = event.concertId, qty = event.qty, state = "asked",
    })
  end,
}
