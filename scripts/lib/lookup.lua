-- A lookup behind a breaker, for trying breakers out: a number below 1 takes longer than its breaker waits
-- (config.hangs_for), one that is unknown fails.
return {
  -- The text that a row has in one of its fields.
  text = function(lookup_breaker, resource, id, field)
    return lookup_breaker:call(function()
      if id <= 0 then task.sleep(config.hangs_for) end
      local row = store.get(resource, id)
      if not row then error(resource .. ": there is no row " .. id) end
      return row[field]
    end, function() return "CircuitBreaker!!!" end)
  end,
}
