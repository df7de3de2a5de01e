local stock = {}

-- Gives total pieces of a book to the orders that wait for it, the oldest first. One that is too big is passed over,
-- a smaller one behind it still gets its books. What is left is the stock.
function stock.serve_waiting(book, total)
  local waiting = store.find("deliverables", { bookId = book.bookId, status = "Stock_Lacked" }, { order = "orderId" })
  for _, deliverable in ipairs(waiting) do
    if deliverable.quantity <= total then
      total = total - deliverable.quantity
      stock.prepared(store.update("deliverables", deliverable.deliverableId, { status = "Delivery_Prepared" }))
    end
  end
  store.update("books", book.bookId, { stock = total })
end

-- Announces that the books of an order lie ready.
function stock.prepared(deliverable)
  bus.emit("DeliveryPrepared", {
    id = deliverable.deliverableId, orderId = deliverable.orderId, status = deliverable.status,
  })
end

-- An order that gets no books: what was put aside for it goes back.
function stock.release(order_id)
  for _, deliverable in ipairs(store.find("deliverables", { orderId = order_id })) do
    if deliverable.status == "Delivery_Prepared" then
      local book = store.get("books", deliverable.bookId)
      if book then store.update("books", book.bookId, { stock = book.stock + deliverable.quantity }) end
    end
    store.update("deliverables", deliverable.deliverableId, { status = "DeliveryCanceled" })
  end
end

return stock
