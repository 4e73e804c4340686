/**
 * What is done in Redis at once. All keys have the same hash tag, so that it may be a cluster:
 * `values` hash: key → revision, blank, value · `keys` sorted set, all of one score: their order · `expiries` sorted set: when they go ·
 * `revision` · `changes` stream: revision and keys of each commit.
 */
const BEGIN = `
local values, keys, expiries, revision, changes = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function alive(key)
  local at = redis.call('ZSCORE', expiries, key)
  return not at or tonumber(at) > now
end
local function remove(key)
  redis.call('HDEL', values, key)
  redis.call('ZREM', keys, key)
  redis.call('ZREM', expiries, key)
end
local function tell(number, changed)
  redis.call('XADD', changes, 'MAXLEN', '~', 4096, '*', 'revision', number, 'keys', table.concat(changed, ' '))
end
`;

export const SCRIPT_KEYS = ['values', 'keys', 'expiries', 'revision', 'changes'] as const;

/** Arguments: a key. Answers its revision, blank, value; or nothing. */
export const GET = `${BEGIN}
if not alive(ARGV[1]) then return nil end
return redis.call('HGET', values, ARGV[1])
`;

/** Arguments: `forward` or `backward`, two keys, a number. Answers keys and what is under them, in turns. */
export const LIST = `${BEGIN}
local limit, offset, found = tonumber(ARGV[4]), 0, {}
while #found < 2 * limit do
  local some
  if ARGV[1] == 'forward' then
    some = redis.call('ZRANGEBYLEX', keys, '(' .. ARGV[2], '(' .. ARGV[3], 'LIMIT', offset, limit)
  else
    some = redis.call('ZREVRANGEBYLEX', keys, '(' .. ARGV[3], '(' .. ARGV[2], 'LIMIT', offset, limit)
  end
  if #some == 0 then break end
  offset = offset + #some
  for _, key in ipairs(some) do
    if #found < 2 * limit and alive(key) then
      table.insert(found, key)
      table.insert(found, redis.call('HGET', values, key))
    end
  end
end
return found
`;

/** What of a key a copy has: the key, revision, blank, value or nothing, milliseconds to live or nothing. */
const COPY = `${BEGIN}
local found, bytes = {}, 0
local function copy(key)
  local stored, at = alive(key) and redis.call('HGET', values, key), redis.call('ZSCORE', expiries, key)
  table.insert(found, key)
  table.insert(found, stored or '')
  table.insert(found, at and tostring(at - now) or '')
  bytes = bytes + #(stored or '')
end
`;

/** Arguments: a key, how many come after it at most, and of how many bytes, or one. Answers them as in {@link COPY}. */
export const COPY_PAGE = `${COPY}
for _, key in ipairs(redis.call('ZRANGEBYLEX', keys, '(' .. ARGV[1], '+', 'LIMIT', 0, ARGV[2])) do
  copy(key)
  if bytes > tonumber(ARGV[3]) then break end
end
return found
`;

/** Arguments: the id of a commit's notice. Answers all that was changed after it as in {@link COPY}; nothing where some of that is not known any more. */
export const COPY_CHANGED = `${COPY}
local notices, seen = redis.call('XRANGE', changes, ARGV[1], '+'), {}
if #notices == 0 or notices[1][1] ~= ARGV[1] then return nil end
for at = 2, #notices do
  for key in string.gmatch(notices[at][2][4], '%S+') do
    if not seen[key] then copy(key) end
    seen[key] = true
  end
end
return found
`;

/** Arguments, five for each change or check: `put`, `remove` or `check`, key, value, expected revision or nothing, milliseconds to live or nothing. */
export const COMMIT = `${BEGIN}
for at = 1, #ARGV, 5 do
  local expected = ARGV[at + 3]
  if expected ~= '' then
    local stored = alive(ARGV[at + 1]) and redis.call('HGET', values, ARGV[at + 1])
    local is = stored and string.match(stored, '^%d+') or '0'
    if is ~= expected then return 0 end
  end
end
local number = redis.call('INCR', revision)
local changed = {}
for at = 1, #ARGV, 5 do
  local key, ttl = ARGV[at + 1], ARGV[at + 4]
  if ARGV[at] ~= 'check' then table.insert(changed, key) end
  if ARGV[at] == 'remove' then
    remove(key)
  elseif ARGV[at] == 'put' then
    redis.call('HSET', values, key, number .. ' ' .. ARGV[at + 2])
    redis.call('ZADD', keys, 0, key)
    if ttl == '' then redis.call('ZREM', expiries, key) else redis.call('ZADD', expiries, now + ttl, key) end
  end
end
tell(number, changed)
return number
`;

/** Removes what has gone by itself. */
export const SWEEP = `${BEGIN}
local gone = redis.call('ZRANGEBYSCORE', expiries, '-inf', now, 'LIMIT', 0, 100)
if #gone == 0 then return 0 end
for _, key in ipairs(gone) do remove(key) end
tell(redis.call('INCR', revision), gone)
return #gone
`;
