// How states look: always an icon, a word and a colour together.
import {
  mdiAlertCircle,
  mdiArrowULeftTop,
  mdiCancel,
  mdiCheckCircle,
  mdiCircle,
  mdiCircleOutline,
  mdiClockAlert,
  mdiClockOutline,
  mdiCloseCircle,
  mdiDebugStepOver,
  mdiDownloadCircle,
  mdiGhostOutline,
  mdiHandBackRight,
  mdiMinusCircleOutline,
  mdiPauseCircle,
  mdiPlayCircle,
  mdiProgressClock,
  mdiRestore,
  mdiSendCircle,
} from '@mdi/js';

export type Tone = 'good' | 'warn' | 'bad' | 'info' | 'quiet';

export interface StateLook {
  text: string;
  tone: Tone;
  icon: string;
}

export const LOOKS: Record<string, StateLook> = {
  // devices
  online: { text: 'Online', tone: 'good', icon: mdiCircle },
  offline: { text: 'Offline', tone: 'quiet', icon: mdiCircleOutline },
  never_seen: { text: 'Never seen', tone: 'quiet', icon: mdiCircleOutline },
  // updates
  waiting: { text: 'Waiting', tone: 'quiet', icon: mdiClockOutline },
  held: { text: 'Held', tone: 'warn', icon: mdiHandBackRight },
  pending: { text: 'Pending', tone: 'info', icon: mdiClockOutline },
  offered: { text: 'Offered', tone: 'info', icon: mdiSendCircle },
  downloading: { text: 'Downloading', tone: 'info', icon: mdiDownloadCircle },
  installing: { text: 'Installing', tone: 'info', icon: mdiProgressClock },
  succeeded: { text: 'Succeeded', tone: 'good', icon: mdiCheckCircle },
  failed: { text: 'Failed', tone: 'bad', icon: mdiCloseCircle },
  rejected: { text: 'Rejected', tone: 'bad', icon: mdiCancel },
  timed_out: { text: 'Timed out', tone: 'bad', icon: mdiClockAlert },
  vanished: { text: 'Vanished', tone: 'bad', icon: mdiGhostOutline },
  cancelled: { text: 'Cancelled', tone: 'quiet', icon: mdiMinusCircleOutline },
  skipped: { text: 'Skipped', tone: 'quiet', icon: mdiDebugStepOver },
  excluded: { text: 'Excluded', tone: 'quiet', icon: mdiMinusCircleOutline },
  // rollouts; rolled_back is a state of updates, too
  running: { text: 'Running', tone: 'info', icon: mdiPlayCircle },
  paused: { text: 'Paused', tone: 'warn', icon: mdiPauseCircle },
  completed: { text: 'Completed', tone: 'good', icon: mdiCheckCircle },
  aborted: { text: 'Aborted', tone: 'bad', icon: mdiCancel },
  rolling_back: { text: 'Rolling back', tone: 'warn', icon: mdiRestore },
  rolled_back: { text: 'Rolled back', tone: 'bad', icon: mdiArrowULeftTop },
  // verdicts
  offer: { text: 'Offer', tone: 'good', icon: mdiSendCircle },
  hold: { text: 'Hold', tone: 'warn', icon: mdiHandBackRight },
  skip: { text: 'Skip', tone: 'quiet', icon: mdiDebugStepOver },
  advance: { text: 'Advance', tone: 'good', icon: mdiPlayCircle },
  pause: { text: 'Pause', tone: 'warn', icon: mdiPauseCircle },
  resume: { text: 'Resume', tone: 'info', icon: mdiPlayCircle },
  abort: { text: 'Abort', tone: 'bad', icon: mdiCancel },
  rollback: { text: 'Roll back', tone: 'bad', icon: mdiRestore },
  // parts, checks
  ready: { text: 'Ready', tone: 'good', icon: mdiCheckCircle },
  down: { text: 'Down', tone: 'bad', icon: mdiAlertCircle },
  error: { text: 'Error', tone: 'bad', icon: mdiCloseCircle },
  warning: { text: 'Warning', tone: 'warn', icon: mdiAlertCircle },
};

export function lookOf(state: string): StateLook {
  return LOOKS[state] ?? { text: state.replaceAll('_', ' '), tone: 'quiet', icon: mdiCircleOutline };
}

export const UNDER_WAY = ['pending', 'offered', 'downloading', 'installing'];

export function isUnderWay(state: string): boolean {
  return UNDER_WAY.includes(state);
}
