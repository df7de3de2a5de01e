return policy "bakery stops when payment is canceled" {
  service = "bakery",
  on      = "PayCanceled",
  handle  = function(event)
    for _, bakery in ipairs(store.find("bakeries", { orderId = event.orderId })) do
      bus.emit("BakeryStatusChanged", store.update("bakeries", bakery.id, { status = "Canceled" }))
    end
  end,
}
