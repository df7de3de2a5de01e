local stock = use "lib.bookstore.stock"

return policy "books are put aside when ordered" {
  service = "bookInventory",
  on      = "Ordered",
  handle  = function(event)
    local book = store.get("books", event.bookId)
    local enough = book ~= nil and book.stock >= event.quantity
    if book then
      -- Written also when nothing is taken, so that books which come in at this moment are not missed.
      store.update("books", book.bookId, { stock = enough and book.stock - event.quantity or book.stock })
    end
    local deliverable = store.create("deliverables", {
      orderId = event.orderId, bookId = event.bookId, quantity = event.quantity,
      status = enough and "Delivery_Prepared" or "Stock_Lacked",
    })
    if enough then stock.prepared(deliverable) end
  end,
}
