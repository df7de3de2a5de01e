return policy "bakery confirms when paid" {
  service = "bakery",
  on      = "PayApproved",
  handle  = function(event)
    if store.first("bakeries", { orderId = event.orderId }) then return end -- the baker was faster
    local bakery = store.create("bakeries", { orderId = event.orderId, status = "Confirmed" })
    bus.emit("OrderConfirmed", bakery)
  end,
}
