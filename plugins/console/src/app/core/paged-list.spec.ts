import { ApiError } from './api';
import { PagedList } from './paged-list';

describe('PagedList', () => {
  /** A list of `total` numbers; `state.fails`: reading it does. */
  function make(total: number) {
    const state = { total, fails: false, reads: 0 };
    const list = new PagedList<number>(async (cursor, limit) => {
      state.reads++;
      expect(limit).toBeLessThanOrEqual(200);
      if (state.fails) throw new ApiError(503, 'Later.');
      const from = Number(cursor ?? 0);
      const items = Array.from({ length: Math.min(limit, state.total - from) }, (_, i) => from + i);
      const next = from + items.length;
      return { items, next: next < state.total ? `${next}` : null };
    });
    return { list, state };
  }

  async function read(list: PagedList<number>, pages: number): Promise<void> {
    await list.restart();
    for (let i = 1; i < pages; i++) await list.more();
  }

  it('reads a page at a time', async () => {
    const { list } = make(70);
    expect(list.fresh()).toBe(true);
    await read(list, 1);
    expect([list.items().length, list.hasMore(), list.fresh()]).toEqual([50, true, false]);
    await list.more();
    expect([list.items().length, list.hasMore(), list.items().at(-1)]).toEqual([70, false, 69]);
  });

  it('keeps the place of the reader when it is read anew, with few requests', async () => {
    const { list, state } = make(1000);
    await read(list, 7);
    expect(list.items().length).toBe(350);
    state.reads = 0;
    await list.reload();
    expect([list.items().length, list.hasMore(), state.reads]).toEqual([350, true, 2]);
    await list.more();
    expect(list.items().at(-1)).toBe(399);
    state.total = 120; // most were deleted meanwhile
    await list.reload();
    expect([list.items().length, list.hasMore()]).toEqual([120, false]);
  });

  it('leaves the rows where reading them anew fails, and tries that again', async () => {
    const { list, state } = make(30);
    await read(list, 1);
    state.fails = true;
    await list.reload();
    expect([list.items().length, list.error()?.status, list.empty()]).toEqual([30, 503, false]);
    state.fails = false;
    state.total = 31;
    await list.reload();
    expect([list.items().length, list.error()]).toEqual([31, null]);
  });

  it('tries again the page that did not come', async () => {
    const { list, state } = make(150);
    await read(list, 1);
    state.fails = true;
    await list.more();
    expect([list.items().length, list.error()?.status]).toEqual([50, 503]);
    state.fails = false;
    await list.reload();
    expect([list.items().length, list.error(), list.hasMore()]).toEqual([100, null, true]);
  });

  it('brings the page that was asked for while it was read anew meanwhile', async () => {
    const { list } = make(500);
    await read(list, 2);
    await Promise.all([list.more(), list.reload()]);
    expect([list.items().length, list.loading()]).toEqual([150, false]);
  });

  it('goes back to the first page where it is told to', async () => {
    const { list } = make(500);
    await read(list, 4);
    await list.shorten();
    expect([list.items().length, list.hasMore()]).toEqual([50, true]);
    await list.reload();
    expect(list.items().length).toBe(50);
  });

  it('keeps what came while an older answer was under way', async () => {
    let answer = (_: { items: { id: number; state: string }[]; next: null }) => {};
    const list = new PagedList<{ id: number; state: string }>(() => new Promise((come) => (answer = come)));
    const rows = (state: string) => [0, 1, 2].map((id) => ({ id, state }));
    const read = list.reload();
    list.patch((row) => (row.id === 1 ? { ...row, state: 'new' } : row));
    answer({ items: rows('old'), next: null });
    await read;
    expect(list.items().map(({ state }) => state)).toEqual(['old', 'new', 'old']);
    const again = list.reload();
    answer({ items: rows('newest'), next: null });
    await again;
    expect(list.items().map(({ state }) => state)).toEqual(['newest', 'newest', 'newest']);
  });
});
