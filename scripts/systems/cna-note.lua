-- A burger kitchen's notes: an order is paid while it is placed, the delivery is prepared, a dashboard shows all of it.
return {
  services = { order = {}, payment = {}, delivery = {}, orderDashboard = { store = "memory" } },
  breakers = { payment = { timeout_ms = 680, limit = 200 } },

  gateway = {
    cors   = { origins = { "*" }, methods = { "*" }, headers = { "*" }, credentials = true },
    routes = {
      { path = { "/orders/**", "/isHealthy" }, service = "order" },
      { path = "/payments/**",        service = "payment" },
      { path = "/deliveries/**",      service = "delivery" },
      { path = "/orderDashboards/**", service = "orderDashboard" },
    },
  },

  -- Shown when the system is ready.
  try = {
    "",
    "The kitchen is open. Place an order:",
    "  curl -i http://{gateway}/orders -H 'Content-Type: application/json' \\",
    "       -d '{\"branchId\":\"1\",\"sauceId\":\"1\",\"qty\":10,\"price\":10000}'",
    "Its delivery is done:",
    "  curl -i -X PATCH http://{gateway}/deliveries/1 -H 'Content-Type: application/json' -d '{}'",
    "What the dashboard says:",
    "  curl http://{gateway}/orderDashboards",
    "",
  },
}
