-- A book shop: an order is paid while it is placed, then delivered, and its customer is told about it.
return {
  services = {
    order = {}, payment = {}, delivery = {}, bookalarm = {},
    customerview = { store = "memory" }, -- made from the log at each start
  },
  breakers = { payment = { timeout_ms = 1000, limit = 200 } },
  config = {},

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
