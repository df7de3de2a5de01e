return {
  -- An order that failed stays failed, one that is gone by now stays gone.
  follow = function(order_id, status)
    local order = store.get("orders", order_id)
    if order and order.orderStatus ~= "Payment_Failed" then
      store.update("orders", order_id, { orderStatus = status })
    end
  end,
}
