import {
  ChangeDetectionStrategy,
  Component,
  computed,
  effect,
  inject,
  input,
  resource,
  signal,
  untracked,
  viewChild,
} from '@angular/core';
import { FormsModule } from '@angular/forms';
import { MatButtonModule } from '@angular/material/button';
import { MatFormFieldModule } from '@angular/material/form-field';
import { MatInputModule } from '@angular/material/input';
import { MatRadioModule } from '@angular/material/radio';
import { MatSelectModule } from '@angular/material/select';
import { Router, RouterLink } from '@angular/router';
import { mdiPackageVariantClosed } from '@mdi/js';
import { Api, ApiError } from '../../core/api';
import { percent, zone } from '../../core/format';
import { readImages } from '../../core/images';
import { kept } from '../../core/kept';
import { Firmware, Page, Policy, PolicyRow, Rollout, Stage, Target } from '../../core/models';
import { Empty, Loading, Problem } from '../../ui/notice';
import { PageHeader } from '../../ui/page-header';
import { TargetEditor } from '../../ui/target-editor';
import { readIds, readTags, tagProblem, tidy } from '../../ui/targets';
import { paramsRead, readParams } from './params';
import { Planned, RolloutPreview } from './preview';

/** "early 10 %" */
function stageWords({ name, share }: Stage): string {
  return name === percent(share) ? name : `${name} ${percent(share)}`;
}

/** Plans a rollout: what, to whom, how and when; beside it, what that would do. */
@Component({
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [
    Empty,
    FormsModule,
    Loading,
    MatButtonModule,
    MatFormFieldModule,
    MatInputModule,
    MatRadioModule,
    MatSelectModule,
    PageHeader,
    Problem,
    RolloutPreview,
    RouterLink,
    TargetEditor,
  ],
  templateUrl: './new-rollout.html',
  styleUrl: './new-rollout.scss',
})
export class NewRolloutPage {
  private readonly api = inject(Api);
  private readonly router = inject(Router);

  /** From the address: what it begins with. */
  readonly firmware_id = input<string>();
  readonly policy = input<string>();
  readonly device_ids = input<string>();
  readonly chip = input<string>();
  readonly tag = input<string>();
  readonly version = input<string>();

  protected readonly icon = mdiPackageVariantClosed;
  protected readonly zone = zone();
  protected readonly images = kept(
    resource({
      params: () => ({ given: Number(this.firmware_id()) || null }),
      loader: async ({ params: { given } }) => {
        const images = await readImages(this.api);
        if (given === null || images.some(({ id }) => id === given)) return images;
        const older = await this.api.get<Firmware>(`/firmware/${given}`).catch((error: ApiError) => {
          if (error.status === 404) return null; // it was deleted: another has to be chosen
          throw error;
        });
        return older ? [...images, older] : images;
      },
    }),
  );
  protected readonly policies = this.api.resource<Page<PolicyRow>>(() => '/policies?source=false&limit=200');
  private readonly chosen = this.api.resource<Policy>(() =>
    this.policyName() ? `/policies/${encodeURIComponent(this.policyName()!)}` : undefined,
  );

  protected readonly firmwareId = signal<number | null>(null);
  protected readonly policyName = signal<string | null>(null);
  private readonly ownName = signal<string | null>(null); // as typed; null: as suggested
  protected readonly target = signal<Target>({});
  private readonly editor = viewChild(TargetEditor);
  protected readonly paramsText = signal('');
  protected readonly priority = signal<number | null>(null);
  protected readonly later = signal(false);
  protected readonly startText = signal(''); // local
  private readonly opened = new Date().toISOString();

  protected readonly image = computed(() => this.images.value()?.find(({ id }) => id === this.firmwareId()));
  protected readonly plan = computed(() => this.policies.value()?.items.find(({ name }) => name === this.policyName()));
  protected readonly about = computed(() => {
    const policy = this.plan();
    if (!policy) return null;
    const stages = policy.declaration?.stages ?? [];
    return {
      words: policy.description,
      stages: stages.length > 1 ? stages.map(stageWords).join(' → ') : 'All at once',
      priority: policy.declaration?.priority ?? 0,
    };
  });
  /** Parameters that the policy knows. */
  protected readonly known = computed(() => paramsRead(this.chosen.value()?.source ?? ''));
  protected readonly name = computed(() => {
    const image = this.image();
    return this.ownName() ?? (image ? `${image.project} ${image.version}`.trim() : '');
  });
  protected readonly params = computed(() => readParams(this.paramsText()));
  protected readonly paramsProblem = computed(() => {
    const read = this.params();
    return 'problem' in read ? read.problem : this.wrong()['params'];
  });
  /** RFC 3339; null: at once; undefined: not a time yet. */
  private readonly startsAt = computed(() => {
    if (!this.later()) return null;
    const at = new Date(this.startText());
    return Number.isNaN(at.getTime()) ? undefined : at.toISOString();
  });

  protected readonly planned = computed<Planned | null>(() => {
    const image = this.image();
    const policy = this.plan();
    const read = this.params();
    if (!image || !policy || 'problem' in read || !this.editor()?.sound()) return null;
    return {
      policy: policy.name,
      firmware_id: image.id,
      target: this.named(image),
      params: read.params,
      start: this.startsAt() ?? this.opened,
    };
  });
  /** What keeps it from being started, in words; the target tells by itself. */
  protected readonly missing = computed(() => {
    const image = this.image();
    if (!image) return 'Choose the firmware.';
    if (!image.release_key) return 'No device would install this firmware: it is not signed.';
    if (!this.plan()) return 'Choose a policy.';
    if (!this.name().trim()) return 'Give the rollout a name.';
    if (this.startsAt() === undefined) return 'Say when it starts.';
    return 'problem' in this.params() ? 'The parameters cannot be read.' : null;
  });

  protected readonly busy = signal(false);
  protected readonly error = signal<ApiError | null>(null);
  /** What the server says of each field. */
  protected readonly wrong = computed<Record<string, string | undefined>>(() =>
    Object.fromEntries((this.error()?.errors ?? []).map(({ field, message }) => [field, message])),
  );

  constructor() {
    effect(() => {
      const images = this.images.value() ?? [];
      const [given, chip] = [Number(this.firmware_id()), this.chip()];
      const first =
        images.find(({ id }) => id === given) ?? images.find((image) => image.release_key && chip === image.chip);
      untracked(() => this.firmwareId() === null && first && this.firmwareId.set(first.id));
    });
    effect(() => {
      const { ids } = readIds(this.device_ids() ?? '');
      const [tag, version] = [this.tag(), this.version()];
      untracked(() =>
        this.target.set({
          ...(tag && !tagProblem(tag) && { tags: readTags([tag]) }),
          ...(version && { versions: [version] }),
          ...(ids.length && { device_ids: ids }),
        }),
      );
    });
    effect(() => {
      const items = this.policies.value()?.items ?? [];
      const usable = items.filter(({ declaration }) => declaration).map(({ name }) => name);
      const given = [this.policy(), 'canary'].find((name) => name && usable.includes(name)) ?? usable[0];
      untracked(() => this.policyName() === null && given && this.policyName.set(given));
    });
  }

  /** The chip of the image always: it can go to no other. */
  private named(image: Firmware): Target | undefined {
    return tidy({ ...this.target(), chip: image.chip });
  }

  protected rename(text: string): void {
    this.ownName.set(text || null);
  }

  protected addParam(name: string): void {
    const read = this.params();
    if ('problem' in read) return;
    const value = name === 'timezone' ? Intl.DateTimeFormat().resolvedOptions().timeZone : null;
    this.paramsText.set(JSON.stringify({ ...read.params, [name]: value }, null, 2));
  }

  protected async create(): Promise<void> {
    if (this.missing() || !this.editor()!.take()) return;
    const planned = this.planned();
    if (!planned) return;
    this.busy.set(true);
    this.error.set(null);
    const { start: _, ...what } = planned;
    try {
      const { rollout } = await this.api.post<{ rollout: Rollout }>('/rollouts', {
        ...what,
        name: this.name().trim(),
        ...(this.priority() !== null && { priority: this.priority() }),
        ...(this.startsAt() && { starts_at: this.startsAt() }),
      });
      this.router.navigate(['/rollouts', rollout.id]);
    } catch (error) {
      this.error.set(ApiError.of(error));
      this.busy.set(false);
    }
  }
}
