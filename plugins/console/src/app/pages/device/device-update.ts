import { ChangeDetectionStrategy, Component, computed, input } from '@angular/core';
import { MatProgressBarModule } from '@angular/material/progress-bar';
import { RouterLink } from '@angular/router';
import { mdiCheckCircle, mdiCircleOutline, mdiProgressClock } from '@mdi/js';
import { duration } from '../../core/format';
import { Update } from '../../core/models';
import { Icon } from '../../ui/icon';
import { StateBadge } from '../../ui/state-badge';
import { isUnderWay } from '../../ui/states';
import { Time } from '../../ui/time';

const STEPS = ['Offered', 'Downloading', 'Installing', 'Confirmed'];
const REACHED: Record<string, number> = { pending: 0, offered: 0, downloading: 1, installing: 2, succeeded: 4 };
const WAITS: Record<string, string> = {
  pending: 'The offer is on its way to the MQTT broker.',
  offered: 'The device has the offer, or gets it when it next connects.',
  downloading: 'The device downloads the image.',
  installing: 'The device verifies the image, restarts into it, tests itself, and has to confirm.',
};

/** The update under way, step by step; once it has ended, how. */
@Component({
  selector: 'otad-device-update',
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [Icon, MatProgressBarModule, RouterLink, StateBadge, Time],
  templateUrl: './device-update.html',
  styleUrl: './device-update.scss',
})
export class DeviceUpdate {
  readonly update = input.required<Update>();
  readonly operator = input(false);
  protected readonly waits = computed(() => WAITS[this.update().state]);
  protected readonly active = computed(() => isUnderWay(this.update().state));
  protected readonly steps = computed(() => {
    const { state, progress } = this.update();
    const reached = REACHED[state] ?? 0;
    return STEPS.map((text, i) => ({
      text: i === 1 && reached === 1 ? `${text}, ${progress} %` : text,
      look: i < reached ? 'done' : i === reached ? 'now' : 'later',
      icon: i < reached ? mdiCheckCircle : i === reached ? mdiProgressClock : mdiCircleOutline,
      said: i < reached ? 'done' : i === reached ? 'under way' : 'to come',
    }));
  });
  protected readonly took = computed(() => {
    const { created_at, updated_at } = this.update();
    return duration((Date.parse(updated_at) - Date.parse(created_at)) / 1000);
  });
}
