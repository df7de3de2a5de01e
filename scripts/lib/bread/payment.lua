-- What the action of a payment means. "cancle" is how the bakery's first clients spell it.
return {
  is_cancel = function(action)
    return action == "cancel" or action == "cancle"
  end,
}
