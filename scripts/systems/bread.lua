-- A bakery: an order is paid by the price list while it is placed, the bakery confirms it, and a page shows it whole.
return {
  services = { order = {}, pay = {}, bakery = {}, customer = { store = "memory" } },
  breakers = { pay = { timeout_ms = 610, limit = 200 } },
  config   = {
    -- What one piece costs.
    prices = {
      cake = 25000.0, bread = 3000.0, bagel = 2500.0, baguette = 4000.0, cookie = 1500.0, croissant = 3500.0,
      donut = 2000.0, muffin = 3000.0, pie = 18000.0, sandwich = 6000.0,
    },
  },

  gateway = {
    cors   = { origins = { "*" }, methods = { "*" }, headers = { "*" }, credentials = true },
    routes = {
      { path = "/orders/**",   service = "order" },
      { path = "/payments/**", service = "pay" },
      { path = "/bakeries/**", service = "bakery" },
      { path = "/mypages/**",  service = "customer" },
    },
  },

  -- Shown when the system is ready.
  try = {
    "",
    "The bakery is open. Order a cake, and see your page:",
    "  curl -i http://{gateway}/orders -H 'Content-Type: application/json' -d '{\"item\":\"cake\",\"qty\":1}'",
    "  curl http://{gateway}/mypages",
    "Cancel it:",
    "  curl -i -X PATCH http://{gateway}/payments/1 -H 'Content-Type: application/json' -d '{\"action\":\"cancel\"}'",
    "",
  },
}
