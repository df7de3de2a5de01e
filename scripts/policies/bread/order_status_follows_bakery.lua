-- An order that is gone by now stays gone: store.update changes nothing then.
return policy "order status follows bakery" {
  service = "order",
  on      = { "OrderConfirmed", "BakeryStatusChanged" },
  handle  = function(event)
    store.update("orders", event.orderId, { status = event.status })
  end,
}
