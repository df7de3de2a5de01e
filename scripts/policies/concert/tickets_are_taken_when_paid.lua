-- The count is changed by store.add, never below 0: a thousand bookings of one concert do not wait for each other.
local function take(reservation)
  if not store.get("concerts", reservation.concertId) then return false end
  local _, err = try(store.add, "concerts", reservation.concertId, { ticketQty = -reservation.qty }, { min = 0 })
  if err and err.code ~= "bound" then error(err) end
  return err == nil
end

return policy "tickets are taken when paid" {
  service = "concert",
  on      = "PaymentApproved",
  handle  = function(event)
    local reservation = store.first("reservations", { bookingId = event.bookingId })
    if not reservation or reservation.state ~= "asked" then return end
    local taken = take(reservation)
    store.update("reservations", reservation.id, { state = taken and "taken" or "refused" })
    bus.emit(taken and "TicketsTaken" or "TicketsRefused", {
      bookingId = event.bookingId, concertId = reservation.concertId, qty = reservation.qty,
    })
    if taken then bus.emit("TicketUpdated", store.get("concerts", reservation.concertId)) end
  end,
}
