// Entries of the audit log for people.
import { AuditEntry } from '../../core/models';

export const ACTIONS: Record<string, string> = {
  'device.create': 'registered the device',
  'device.change': 'changed the device',
  'device.delete': 'deleted the device',
  'device.credentials': 'gave new credentials to',
  'update.create': 'ordered an update of',
  'update.cancel': 'cancelled an update of',
  'firmware.create': 'uploaded the firmware',
  'firmware.sign': 'signed the firmware',
  'firmware.delete': 'deleted the firmware',
  'rollout.create': 'started the rollout',
  'rollout.pause': 'paused the rollout',
  'rollout.resume': 'resumed the rollout',
  'rollout.abort': 'aborted the rollout',
  'rollout.rollback': 'rolled back the rollout',
  'policy.activate': 'activated a revision of the policy',
  'policy.rollback': 'took back a revision of the policy',
  'user.create': 'created the account',
  'user.role': 'changed the role of',
  'user.password': 'changed the password of',
  'user.delete': 'deleted the account',
  'session.login': 'logged in',
  'session.logout': 'logged out',
  'job.create': 'ordered, of many devices at once:',
  'script.reload': 'reloaded the scripts',
};

export const KINDS = ['device', 'firmware', 'rollout', 'policy', 'job', 'user', 'scripts'];

export interface Change {
  field: string;
  before: string;
  after: string;
}

function text(value: unknown): string {
  if (value === null || value === undefined) return '–';
  return typeof value === 'object' ? JSON.stringify(value) : `${value}`;
}

/** Field by field what was and what is; what a thing was made with, or had when it was deleted. */
export function changesOf({ before, after }: AuditEntry): Change[] {
  const fields = new Set([...Object.keys(before ?? {}), ...Object.keys(after ?? {})]);
  return [...fields]
    .map((field) => ({ field, before: text(before?.[field]), after: text(after?.[field]) }))
    .filter((change) => change.before !== change.after);
}

/** Where the thing can be looked at; null where it has no page. */
export function linkOf({ action, target }: AuditEntry): string[] | null {
  if (target.id === null || action.endsWith('.delete')) return null;
  switch (target.kind) {
    case 'device':
      return ['/devices', `${target.id}`];
    case 'firmware':
      return ['/firmware', `${target.id}`];
    case 'rollout':
      return ['/rollouts', `${target.id}`];
    case 'policy':
      return ['/policies', `${target.name ?? target.id}`];
    default:
      return null;
  }
}
