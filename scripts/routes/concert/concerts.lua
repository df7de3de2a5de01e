return {
  event "ConcertRegistered" {
    service = "concert",
    key     = { concert = "id" },
    fields  = { integer "id", text "name", integer "ticketQty" },
  },

  event "TicketUpdated" {
    service = "concert",
    key     = { concert = "id" },
    fields  = { integer "id", text "name", integer "ticketQty" },
  },

  event "TicketsTaken" {
    service = "concert",
    key     = { booking = "bookingId" },
    fields  = { integer "bookingId", integer "concertId", integer "qty" },
  },

  event "TicketsRefused" {
    service = "concert",
    key     = { booking = "bookingId" },
    fields  = { integer "bookingId", integer "concertId", integer "qty" },
  },

  resource "concerts" {
    service = "concert",
    rel     = "concert",
    fields  = {
      text    "name",
      integer "ticketQty" { min = 0 },
    },

    on_create = function(concert)
      bus.emit("ConcertRegistered", concert)
    end,

    on_update = function(concert)
      bus.emit("TicketUpdated", concert)
    end,
  },

  -- What each booking asked for and whether it holds tickets; the concert service's own note, not for clients.
  resource "reservations" {
    service = "concert",
    rel     = "reservation",
    methods = { "GET" },
    fields  = {
      integer "bookingId" { required = true, unique = true },
      integer "concertId",
      integer "qty",
      text    "state", -- asked, taken, refused, canceled
    },
  },
}
