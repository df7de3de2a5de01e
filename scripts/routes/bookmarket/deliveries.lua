return {
  event "Shipped" {
    service = "delivery",
    key     = { order = "orderId" },
    fields  = { integer "id", integer "orderId", integer "customerId", text "status" },
  },

  -- Its rows come from the policy "delivery starts when paid".
  resource "deliveries" {
    service = "delivery",
    rel     = "delivery",
    fields  = {
      integer "orderId" { required = true },
      integer "customerId",
      text    "status",
    },
    finders = { findByOrderId = { "orderId" } },
  },
}
