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

  it('has the rows that it had when it is read again, as far as a page goes', async () => {
    const { list: it, asked } = list();
    for (const [had, limit] of [
      [0, 50],
      [30, 50],
      [150, 150],
      [400, 200],
    ]) {
      const first = it.reload();
      asked.at(-1)!.answer({ items: rows(had), next: 'more' });
      await first;
      it.reload();
      expect(asked.at(-1)).toMatchObject({ cursor: null, limit });
    }
    const first = it.reload();
    asked.at(-1)!.answer({ items: rows(100), next: 'more' });
    await first;
    it.more();
    expect(asked.at(-1)).toMatchObject({ cursor: 'more', limit: 50 });
  });
});
