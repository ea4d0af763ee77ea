import { place, PolicyField, PolicyFields, suggest } from './completion';

const field = (name: string, fields?: PolicyField[]): PolicyField => ({
  name,
  type: 'number',
  text: `${name}?`,
  fields,
});
const FIELDS: PolicyFields = {
  policy: [
    field('stages', [field('name'), field('share'), field('soak')]),
    field('rate', [field('per_minute'), field('growth')]),
    field('admit'),
    field('concurrency'),
  ],
  device: [field('chip'), field('telemetry')],
  rollout: [field('stage'), field('firmware', [field('version'), field('size')])],
  stats: [field('ended'), field('since_resume', [field('failure_low')])],
  ctx: [field('hour')],
  verdicts: { admit: ['offer', 'hold', 'skip'], advance: ['hold', 'advance', 'pause'] },
};

/** The labels offered where `|` stands. */
function at(marked: string, explicit = false, fields: PolicyFields | null = FIELDS): string[] | null {
  const pos = marked.indexOf('|');
  const source = marked.replace('|', '');
  return suggest(source, pos, explicit, fields)?.options.map(({ label }) => label) ?? null;
}

describe('suggest', () => {
  it('knows what devices, rollouts, statistics and contexts have', () => {
    expect(at('if device.|')).toEqual(['chip', 'telemetry']);
    expect(at('if device.ch| then')).toEqual(['chip', 'telemetry']);
    expect(at('x = (rollout.firmware.|)')).toEqual(['version', 'size']);
    expect(at('stats.since_resume.f|')).toEqual(['failure_low']);
    expect(at('ctx.|')).toEqual(['hour']);
    expect(at('my.device.|')).toBeNull();
    expect(at('string.|')).toBeNull();
  });

  it('offers the keys of a policy and of its parts', () => {
    expect(at('return {\n  |', true)).toEqual(['stages', 'rate', 'admit', 'concurrency']);
    expect(at('return {\n  con|')).toEqual(['stages', 'rate', 'admit', 'concurrency']);
    expect(at('return {\n  rate = { g| }')).toEqual(['per_minute', 'growth']);
    expect(at('return { stages = { { name = "a", s|')).toEqual(['name', 'share', 'soak']);
    expect(at('return { concurrency = 5, -- "at once"\n  |', true)).toContain('stages');
  });

  it('offers none where a value stands', () => {
    expect(at('return { concurrency = c|')).not.toContain('stages');
    expect(at('return { admit = function(device) local x = { c| }')).not.toContain('stages');
  });

  it('offers the verdicts of the function', () => {
    expect(at('return { admit = function(device) return "|" end }')).toEqual(['offer', 'hold', 'skip']);
    expect(at('return { advance = function() if x then return | end')).toEqual(['hold', 'advance', 'pause']);
    expect(at('local function admit(device) return "o|')).toEqual(['offer', 'hold', 'skip']);
    expect(at('local function f() return "|')).toEqual(['offer', 'hold', 'skip', 'advance', 'pause']);
    expect(at('return { admit = function() return "hold", "|" end }')).toBeNull();
  });

  it('puts a verdict in quotes where there are none', () => {
    const source = 'return { admit = function() return ';
    expect(suggest(source, source.length, false, FIELDS)?.options[0]).toMatchObject({
      label: 'offer',
      apply: '"offer"',
    });
    expect(suggest(`${source}"`, source.length + 1, false, FIELDS)?.options[0].apply).toBe('offer');
  });

  it('leaves the closed function behind', () => {
    const source =
      'return { admit = function() if a then return "hold" end return "offer" end,\n advance = function() return "|';
    expect(at(source)).toEqual(['hold', 'advance', 'pause']);
  });

  it('offers nothing in comments and texts', () => {
    expect(at('-- device.|')).toBeNull();
    expect(at('x = "device.|"')).toBeNull();
    expect(at('--[[ device.| ]]')).toBeNull();
    expect(at('x = "a" device.|')).toEqual(['chip', 'telemetry']);
  });

  it('falls back to words of Lua and of the file', () => {
    expect(at('local limit = 3\nif lim|')).toContain('limit');
    expect(at('wh|', false, null)).toContain('while');
    expect(at('return {\n  st|', false, null)).not.toContain('stages');
    expect(at('device.|', false, null)).toBeNull();
    expect(at('x = |')).toBeNull();
    expect(at('x = 1|')).toBeNull();
  });
});

describe('place', () => {
  it('counts blocks and tables', () => {
    const source = 'return { a = { 1 }, f = function() for i = 1, 2 do if x then y() end end ';
    expect(place(source, source.length).open).toEqual([
      { kind: 'table', name: null },
      { kind: 'block', name: 'f' },
    ]);
  });

  it('passes over texts and comments', () => {
    const source = 'x = "{ function" -- {\ny = [[ { ]] ';
    expect(place(source, source.length).open).toEqual([]);
  });
});
