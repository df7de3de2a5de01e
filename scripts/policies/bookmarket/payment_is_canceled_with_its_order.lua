return policy "payment is canceled with its order" {
  service = "payment",
  on      = "OrderCanceled",
  handle  = function(event)
    for _, payment in ipairs(store.find("payments", { orderId = event.id })) do
      if payment.status ~= "PayCanceled" then
        bus.emit("PayCanceled", store.update("payments", payment.id, { status = "PayCanceled" }))
      end
    end
  end,
}
