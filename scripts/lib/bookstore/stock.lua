local stock = {}

-- More or fewer pieces of a book. Done by store.add, so that orders of one book do not wait for each other; only if
-- others took the last pieces at that very moment, the count is written as a whole.
local function change(book, pieces)
  local _, refused = try(store.add, "books", book.bookId, { stock = pieces }, { min = 0 })
  if refused then store.update("books", book.bookId, { stock = book.stock + pieces }) end
end

-- The number of orders that wait for a book is read first and written last, by whoever begins to wait and by whoever
-- serves those that wait. So, if both happen at one moment, one of them is done again and sees the other.
local function waiting_list(book_id)
  return store.first("waitingLists", { bookId = book_id }) or { bookId = book_id, orders = 0 }
end

local function write_waiting(list, orders)
  if list.id then
    store.update("waitingLists", list.id, { orders = orders })
  else
    store.create("waitingLists", { bookId = list.bookId, orders = orders })
  end
end

-- Announces that the books of an order lie ready.
function stock.prepared(deliverable)
  bus.emit("DeliveryPrepared", {
    id = deliverable.deliverableId, orderId = deliverable.orderId, status = deliverable.status,
  })
end

-- Puts books aside for an order: true, or false when there are too few, and the order waits.
function stock.put_aside(book_id, quantity)
  local list = waiting_list(book_id)
  local book = store.get("books", book_id)
  local enough = book ~= nil and book.stock >= quantity
  if enough then
    change(book, -quantity)
  else
    write_waiting(list, list.orders + 1)
  end
  return enough
end

-- Books came in. They go to the orders that wait, the oldest first; one that is too big is passed over, a smaller one
-- behind it still gets its books. What is left is the stock.
function stock.came_in(book_id, quantity)
  local list = waiting_list(book_id)
  local book = store.get("books", book_id)
  local lacking = store.find("deliverables", { bookId = book_id, status = "Stock_Lacked" }, { order = "orderId" })
  local left, waiting = book.stock + quantity, #lacking
  for _, deliverable in ipairs(lacking) do
    if deliverable.quantity <= left then
      left, waiting = left - deliverable.quantity, waiting - 1
      stock.prepared(store.update("deliverables", deliverable.deliverableId, { status = "Delivery_Prepared" }))
    end
  end
  write_waiting(list, waiting)
  change(book, left - book.stock)
end

-- An order that gets no books: what was put aside for it goes back.
function stock.release(order_id)
  for _, deliverable in ipairs(store.find("deliverables", { orderId = order_id })) do
    local book = store.get("books", deliverable.bookId)
    if book and deliverable.status == "Delivery_Prepared" then change(book, deliverable.quantity) end
    store.update("deliverables", deliverable.deliverableId, { status = "DeliveryCanceled" })
  end
end

return stock
