return policy "delivery is canceled with its payment" {
  service = "delivery",
  on      = "PayCanceled",
  handle  = function(event)
    for _, delivery in ipairs(store.find("deliveries", { orderId = event.orderId })) do
      if delivery.status ~= "DeliveryCanceled" then
        bus.emit("DeliveryCanceled", store.update("deliveries", delivery.id, { status = "DeliveryCanceled" }))
      end
    end
  end,
}
