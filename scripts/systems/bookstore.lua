-- A book store: orders of known customers for known books, paid through an outside company (VAN), prepared from stock
-- or when stock comes in, shipped when they are both prepared and paid.
return {
  services = {
    order = {}, delivery = {}, customer = {}, bookInventory = {}, payment = {}, van = {},
    paymenthistory = { store = "memory" },
  },
  breakers = {
    book     = { timeout_ms = 1000, limit = 200 },
    customer = { timeout_ms = 1000, limit = 200 },
    van      = { timeout_ms = 5000, sleep_ms = 10000, limit = 200 },
    delivery = { timeout_ms = 5000, sleep_ms = 10000, limit = 200 },
  },
  config = {
    -- How long VAN takes for an amount of 0, and the delivery lookup for a number that cannot be one: longer than their
    -- breakers wait, for trying these out.
    hangs_for = "10s",
  },

  gateway = {
    cors   = { origins = { "*" }, methods = { "*" }, headers = { "*" }, credentials = true },
    routes = {
      { path = "/orders/**", service = "order" },
      { path = { "/deliveries/**", "/selectDeliveryInfo" }, service = "delivery" },
      { path = { "/customers/**", "/myPages/**" }, service = "customer" },
      { path = { "/books/**", "/deliverables/**", "/stockInputs/**" }, service = "bookInventory" },
      { path = "/payments/**", service = "payment" },
      { path = { "/requestPayment/**", "/isHealthy", "/makeZombie", "/isReady" }, service = "van" },
      { path = "/paymentHistories/**", service = "paymenthistory" },
    },
  },

  -- Shown when the system is ready.
  try = {
    "",
    "The store is open. A customer, a book, an order:",
    "  curl -i http://{gateway}/customers -H 'Content-Type: application/json' -d '{\"customerName\":\"Kim\"}'",
    "  curl -i http://{gateway}/books -H 'Content-Type: application/json' -d '{\"bookName\":\"Lua\",\"stock\":100}'",
    "  curl -i http://{gateway}/orders -H 'Content-Type: application/json' \\",
    "       -d '{\"bookId\":1,\"customerId\":1,\"quantity\":10,\"deliveryAddress\":\"Seoul\",\"payAmount\":1000}'",
    "What became of it:",
    "  curl http://{gateway}/myPages",
    "",
  },
}
