import {
  ChangeDetectionStrategy,
  Component,
  computed,
  effect,
  ElementRef,
  inject,
  input,
  model,
  signal,
  untracked,
  viewChild,
} from '@angular/core';
import { FormsModule } from '@angular/forms';
import { MatFormFieldModule } from '@angular/material/form-field';
import { MatInputModule } from '@angular/material/input';
import { Api } from '../core/api';
import { counted } from '../core/format';
import { Facets, Target } from '../core/models';
import { TagsField } from './tags-field';
import { MOST_IDS, readIds } from './targets';
import { TokenField } from './token-field';

/** Which devices: by tags, by what they run, or one by one. Nothing given: all that can have the firmware. */
@Component({
  selector: 'otad-target-editor',
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [FormsModule, MatFormFieldModule, MatInputModule, TagsField, TokenField],
  template: `<otad-tags-field
      hint="Devices that have all of them: name:value, then Enter"
      [tags]="target().tags ?? {}"
      (tagsChange)="change({ tags: $event })"
      [error]="errors()['target.tags']"
    />
    <otad-token-field
      label="Running versions"
      hint="Devices that run one of them"
      [values]="target().versions ?? []"
      (valuesChange)="change({ versions: $event })"
      [suggestions]="versions()"
      [error]="errors()['target.versions']"
    />
    <mat-form-field>
      <mat-label>Device ids</mat-label>
      <textarea
        #ids
        matInput
        name="ids"
        rows="1"
        cdkTextareaAutosize
        cdkAutosizeMaxRows="6"
        [ngModel]="idsText()"
        (ngModelChange)="setIds($event)"
        [attr.aria-invalid]="!!idsProblem()"
      ></textarea>
      <mat-hint [class.wrong]="idsProblem()">{{ idsProblem() ?? idsHint() }}</mat-hint>
    </mat-form-field>`,
  styles: `
    :host {
      display: grid;
      gap: 12px;
    }
    .wrong {
      color: var(--bad);
    }
  `,
})
export class TargetEditor {
  private readonly api = inject(Api);

  readonly target = model.required<Target>();
  /** What the server says is wrong, by field ("target.device_ids"). */
  readonly errors = input<Record<string, string | undefined>>({});

  private readonly found = this.api.resource<Facets>(() => '/devices/facets');
  protected readonly versions = computed(() => this.found.value()?.versions ?? []);
  protected readonly idsText = signal('');
  private readonly read = computed(() => readIds(this.idsText()));
  protected readonly idsHint = computed(() =>
    this.read().ids.length
      ? counted(this.read().ids.length, 'device')
      : 'Only these; separated by spaces, commas or lines',
  );
  protected readonly idsProblem = computed(() => {
    const { ids, wrong } = this.read();
    if (wrong.length) return `${wrong.slice(0, 3).join(', ')}: not an id of a device`;
    if (ids.length > MOST_IDS) return 'Up to 10,000 devices can be named';
    return this.errors()['target.device_ids'];
  });

  private readonly idsSound = computed(() => !this.read().wrong.length && this.read().ids.length <= MOST_IDS);

  private readonly tagsField = viewChild.required(TagsField);
  private readonly versionsField = viewChild.required(TokenField);
  private readonly idsField = viewChild.required<ElementRef<HTMLElement>>('ids');

  /** Whether the target is all that was typed: nothing in the fields is unfinished or cannot be read. */
  readonly sound = computed(() => this.idsSound() && !this.tagsField().pending() && !this.versionsField().pending());

  constructor() {
    // Ids that came with the target are shown; those that are being typed stay as they are.
    effect(() => {
      const ids = this.target().device_ids ?? [];
      untracked(() => {
        if (ids.join() !== this.read().ids.join()) this.idsText.set(ids.join(', '));
      });
    });
  }

  /** Takes in what is still being typed; false: something cannot be read, and has the focus. Whoever saves calls it. */
  take(): boolean {
    if (!this.idsSound()) this.idsField().nativeElement.focus();
    const read = [this.versionsField().take(), this.tagsField().take()];
    return this.idsSound() && !read.includes(false);
  }

  protected change(part: Partial<Target>): void {
    this.target.update((target) => ({ ...target, ...part }));
  }

  protected setIds(text: string): void {
    this.idsText.set(text);
    this.change({ device_ids: this.read().ids });
  }
}
