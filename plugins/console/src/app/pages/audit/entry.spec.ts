import { AuditEntry } from '../../core/models';
import { changesOf, linkOf } from './entry';

function entry(some: Partial<AuditEntry>): AuditEntry {
  return {
    id: 1,
    at: '2026-01-01T00:00:00Z',
    user: null,
    via: 'http',
    address: null,
    request_id: null,
    action: 'device.change',
    target: { kind: 'device', id: 7, name: 'desk-1' },
    before: null,
    after: null,
    ...some,
  };
}

describe('entries of the audit log', () => {
  it('tell only what differs', () => {
    const changes = changesOf(
      entry({ before: { name: 'a', tags: { x: '1' } }, after: { name: 'b', tags: { x: '1' } } }),
    );
    expect(changes).toEqual([{ field: 'name', before: 'a', after: 'b' }]);
  });

  it('tell what a thing was made with', () => {
    expect(changesOf(entry({ after: { chip: 'esp32', name: null } }))).toEqual([
      { field: 'chip', before: '–', after: 'esp32' },
    ]);
  });

  it('lead to the thing, unless it is gone', () => {
    expect(linkOf(entry({}))).toEqual(['/devices', '7']);
    expect(linkOf(entry({ action: 'device.delete' }))).toBeNull();
    expect(linkOf(entry({ target: { kind: 'policy', id: null, name: 'canary' } }))).toBeNull();
    expect(linkOf(entry({ target: { kind: 'policy', id: 'canary', name: 'canary' } }))).toEqual([
      '/policies',
      'canary',
    ]);
  });
});
