-- An order is shipped when its books lie ready and its payment is through, whichever comes last.
return {
  -- step: "prepared" or "payed".
  done = function(order_id, step)
    local note = store.upsert("shippingNotes", { orderId = order_id }, { [step] = true })
    if not (note.prepared and note.payed) then return end
    local delivery = store.first("deliveries", { orderId = order_id })
    if delivery and delivery.deliveryStatus == "CreateDelivery" then
      bus.emit("DeliveryStatusChanged", store.update("deliveries", delivery.id, { deliveryStatus = "Shipped" }))
    end
  end,

  -- It will not be shipped any more.
  canceled = function(order_id)
    local delivery = store.first("deliveries", { orderId = order_id })
    if delivery and delivery.deliveryStatus ~= "CancelDelivery" then
      bus.emit("DeliveryStatusChanged", store.update("deliveries", delivery.id, { deliveryStatus = "CancelDelivery" }))
    end
  end,
}
