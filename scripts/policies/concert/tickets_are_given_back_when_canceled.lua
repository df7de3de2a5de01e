-- Only tickets that were taken come back; a booking that was never approved had none.
return policy "tickets are given back when canceled" {
  service = "concert",
  on      = "BookingCanceled",
  handle  = function(event)
    local reservation = store.first("reservations", { bookingId = event.id })
    if not reservation then return end
    if reservation.state == "taken" and store.get("concerts", reservation.concertId) then
      store.add("concerts", reservation.concertId, { ticketQty = reservation.qty })
      bus.emit("TicketUpdated", store.get("concerts", reservation.concertId))
    end
    store.update("reservations", reservation.id, { state = "canceled" })
  end,
}
