-- Concert tickets: a booking is paid, approved when there are tickets, and gives them back when it is cancelled.
return {
  services = { concert = {}, booking = {}, payment = {}, user = {}, mypage = { store = "memory" } },
  breakers = { payment = { timeout_ms = 610, limit = 200 } },
  config   = {
    -- When a payment could not be asked for: the first try again, doubling, at most so far apart.
    payment_again_ms     = 1000,
    payment_again_max_ms = 15000,
  },

  gateway = {
    cors   = { origins = { "*" }, methods = { "*" }, headers = { "*" }, credentials = true },
    routes = {
      { path = "/concerts/**",         service = "concert" },
      { path = "/bookings/**",         service = "booking" },
      { path = "/payments/**",         service = "payment" },
      { path = "/users/**",            service = "user" },
      { path = "/bookingHistories/**", service = "mypage" },
    },
  },

  -- Shown when the system is ready.
  try = {
    "",
    "Tickets are on sale. Register a concert and book it:",
    "  curl -i http://{gateway}/concerts -H 'Content-Type: application/json' \\",
    "       -d '{\"name\":\"Moon\",\"ticketQty\":100}'",
    "  curl -i http://{gateway}/bookings -H 'Content-Type: application/json' \\",
    "       -d '{\"concertId\":1,\"userId\":1,\"qty\":5}'",
    "Pay for it, and see what became of it:",
    "  curl -i -X PATCH http://{gateway}/payments/1 -H 'Content-Type: application/json' -d '{}'",
    "  curl http://{gateway}/bookingHistories",
    "",
  },
}
