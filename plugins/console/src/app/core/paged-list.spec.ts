import { Page } from './models';
import { PagedList } from './paged-list';

interface Row {
  id: number;
  state: string;
}

const rows = (count: number, state = 'old'): Row[] => Array.from({ length: count }, (_, id) => ({ id, state }));

/** A list, and what answers its requests, the oldest first. */
function list() {
  const asked: { cursor: string | null; limit: number; answer: (page: Page<Row>) => void }[] = [];
  const list = new PagedList<Row>((cursor, limit) => new Promise((answer) => asked.push({ cursor, limit, answer })));
  return { list, asked };
}

describe('PagedList', () => {
  it('keeps what came while an older answer was under way', async () => {
    const { list: it, asked } = list();
    const done = it.reload();
    it.patch((row) => (row.id === 1 ? { ...row, state: 'new' } : row));
    asked[0].answer({ items: rows(3), next: null });
    await done;
    expect(it.items().map(({ state }) => state)).toEqual(['old', 'new', 'old']);
    const again = it.reload();
    asked[1].answer({ items: rows(3, 'newest'), next: null });
    await again;
    expect(it.items().map(({ state }) => state)).toEqual(['newest', 'newest', 'newest']);
  });

  it('has as many rows as before when it is read again', async () => {
    const all = rows(270);
    const asked: [string | null, number][] = [];
    const it = new PagedList<Row>(async (cursor, limit) => {
      asked.push([cursor, limit]);
      const to = Number(cursor) + limit;
      return { items: all.slice(Number(cursor), to), next: to < all.length ? `${to}` : null };
    });
    await it.reload();
    for (let i = 0; i < 4; i++) await it.more();
    expect(asked).toEqual([null, '50', '100', '150', '200'].map((cursor) => [cursor, 50]));
    asked.length = 0;
    await it.reload();
    expect(it.items()).toEqual(all.slice(0, 250));
    expect(asked).toEqual([
      [null, 200],
      ['200', 50],
    ]);
    await it.more();
    expect(it.items()).toEqual(all);
    await it.reload(0);
    expect(it.items()).toHaveLength(50);
    expect(it.first()).toBe(true);
  });
});
