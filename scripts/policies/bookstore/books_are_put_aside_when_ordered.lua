local stock = use "lib.bookstore.stock"

return policy "books are put aside when ordered" {
  service = "bookInventory",
  on      = "Ordered",
  handle  = function(event)
    local enough = stock.put_aside(event.bookId, event.quantity)
    local deliverable = store.create("deliverables", {
      orderId = event.orderId, bookId = event.bookId, quantity = event.quantity,
      status = enough and "Delivery_Prepared" or "Stock_Lacked",
    })
    if enough then stock.prepared(deliverable) end
  end,
}
