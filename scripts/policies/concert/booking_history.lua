-- One row a booking, with the last status. Whether a booking was rejected matters more than that its payment went
-- back afterwards.
local function status(row, event)
  row.status = event.status
end

return view "bookingHistories" {
  service = "mypage",
  rel     = "bookingHistory",
  by      = "bookingId",
  fields  = {
    integer "bookingId",
    integer "concertId",
    integer "userId",
    text    "status",
  },
  finders = { findByBookingId = { "bookingId" } },

  on = {
    BookingRequested = function(row, event)
      row.concertId, row.userId, row.status = event.concertId, event.userId, event.status
    end,
    BookingApproved  = status,
    BookingRejected  = status,
    BookingCanceled  = status,
    PaymentRequested = status,
    PaymentApproved  = status,
    PaymentCanceled  = function(row, event)
      if row.status ~= "BookingRejected" then row.status = event.status end
    end,
  },
}
