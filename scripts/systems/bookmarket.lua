-- A book shop: an order is paid while it is placed, then delivered, and its customer is told about it.
return {
  services = {
    order = {}, payment = {}, delivery = {}, bookalarm = {},
    customerview = { store = "memory" }, -- made from the log at each start
  },
  breakers = {
    payment         = { timeout_ms = 1000, limit = 200 },
    bookAlarmLookup = { timeout_ms = 5000, sleep_ms = 10000, limit = 200 },
  },
  config = {
    -- How long the message service takes for a number that no message can have: longer than its breaker waits, for
    -- trying it out. And how long one request of /autoScaleTest lasts.
    hangs_for  = "10s",
    load_lasts = "3s",
  },

  gateway = {
    cors   = { origins = { "*" }, methods = { "*" }, headers = { "*" }, credentials = true },
    routes = {
      { path = "/orders/**",     service = "order" },
      { path = "/payments/**",   service = "payment" },
      { path = "/deliveries/**", service = "delivery" },
      { path = "/mypages/**",    service = "customerview" },
      { path = { "/bookAlarms/**", "/breakerAlarms/**" }, service = "bookalarm" },
      { path = { "/selectBookAlarmInfo", "/autoScaleTest", "/isHealthy" }, service = "bookalarm" },
      -- As the shop's first clients spell it.
      { path = "/bookalarms/**", service = "bookalarm", rewrite_path = { "^/bookalarms", "/bookAlarms" } },
    },
  },

  -- Shown when the shop opens.
  try = {
    "",
    "The book shop is open. Place an order:",
    "  curl -i http://{gateway}/orders -H 'Content-Type: application/json' \\",
    "       -d '{\"bookId\":\"10\",\"qty\":\"1\",\"customerId\":\"1002\"}'",
    "See that it was paid, delivered, and its customer told:",
    "  curl http://{gateway}/orders    (payments, deliveries, bookAlarms likewise)",
    "  build/moontide events",
    "Its rules are in scripts/policies/bookmarket: change one, save, and the next order follows it.",
    "",
  },
}
