"""What Redis runs for a checkpoint, in Lua: each script is atomic and looks at the fencing token first."""

# The first token is a time, so that tokens go on growing when Redis has lost everything.
ACQUIRE = """
if redis.call('EXISTS', KEYS[1]) == 0 then redis.call('SET', KEYS[1], ARGV[1]) end
return redis.call('INCR', KEYS[1])
"""

# KEYS: token, meta, then for each kind its keys. ARGV: token, time to live in ms (0 = none), the oldest day to keep,
# number of fields to set, fields to delete, strings to set, strings to delete, hashes to look through, meta fields;
# then fields and values of meta, field and value of every state to set, fields to delete, values of the strings.
WRITE_LAZY = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
local ttl, oldest = tonumber(ARGV[2]), tonumber(ARGV[3])
local sets, dels = tonumber(ARGV[4]), tonumber(ARGV[5])
local strings, gone, swept, metas = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
local key, arg = 3, 10
for _ = 1, metas do redis.call('HSET', KEYS[2], ARGV[arg], ARGV[arg + 1]); arg = arg + 2 end
for _ = 1, sets do
  redis.call('HSET', KEYS[key], ARGV[arg], ARGV[arg + 1])
  if ttl > 0 then redis.call('PEXPIRE', KEYS[key], ttl) end
  key, arg = key + 1, arg + 2
end
for _ = 1, dels do redis.call('HDEL', KEYS[key], ARGV[arg]); key, arg = key + 1, arg + 1 end
for _ = 1, strings do
  if ttl > 0 then redis.call('SET', KEYS[key], ARGV[arg], 'PX', ttl) else redis.call('SET', KEYS[key], ARGV[arg]) end
  key, arg = key + 1, arg + 1
end
for _ = 1, gone do redis.call('DEL', KEYS[key]); key = key + 1 end
for _ = 1, swept do
  local found = redis.call('HGETALL', KEYS[key])
  for i = 1, #found, 2 do
    local low, high = string.byte(found[i + 1], 1, 2)
    if low + 256 * high < oldest then redis.call('HDEL', KEYS[key], found[i]) end
  end
  key = key + 1
end
return 1
"""

# KEYS: token, then the hash of each field. ARGV: fields. Answers the token, then the values.
READ_FIELDS = """
local found = {redis.call('GET', KEYS[1])}
for i = 2, #KEYS do found[i] = redis.call('HGET', KEYS[i], ARGV[i - 1]) end
return found
"""

# KEYS: token, meta, hash. ARGV: token, number of states to set, number of meta fields, fields and values of meta,
# fields and values of the states, fields to delete.
WRITE_HASH = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
local sets, metas = tonumber(ARGV[2]), tonumber(ARGV[3])
for i = 1, metas do redis.call('HSET', KEYS[2], ARGV[2 + 2 * i], ARGV[3 + 2 * i]) end
local first = 3 + 2 * metas
for i = 1, sets do redis.call('HSET', KEYS[3], ARGV[first + 2 * i - 1], ARGV[first + 2 * i]) end
for i = first + 2 * sets + 1, #ARGV do redis.call('HDEL', KEYS[3], ARGV[i]) end
return 1
"""
