import {
  ChangeDetectionStrategy,
  Component,
  computed,
  ElementRef,
  inject,
  linkedSignal,
  resource,
  signal,
  viewChild,
} from '@angular/core';
import { MatButtonModule } from '@angular/material/button';
import { MAT_DIALOG_DATA, MatDialogModule, MatDialogRef } from '@angular/material/dialog';
import { kept } from '../../core/kept';
import { Problem } from '../../ui/notice';
import { Time } from '../../ui/time';
import { PolicyDocument } from './document';
import { DiffView } from './editor/diff-view';
import { authorName, quoted, short } from './source';

/** Somebody put another text in force meanwhile: what they changed, and how to go on. No way loses a text. */
@Component({
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [DiffView, MatButtonModule, MatDialogModule, Problem, Time],
  templateUrl: './conflict.html',
  styleUrl: './dialogs.scss',
})
export class ConflictDialog {
  protected readonly policy = inject<PolicyDocument>(MAT_DIALOG_DATA);
  protected readonly short = short;
  protected readonly quoted = quoted;
  protected readonly authorName = authorName;
  // As they were when the dialog opened: the page goes on looking.
  protected readonly theirs = this.policy.newer()!;
  protected readonly base = this.policy.base()?.source ?? '';
  protected readonly mine = this.policy.text();
  protected readonly merging = signal(false);
  private readonly ref = inject(MatDialogRef);
  private readonly title = viewChild.required<ElementRef<HTMLElement>>('title');
  private readonly setup = kept(resource({ loader: () => import('./editor/setup') }));
  protected readonly failed = this.setup.error;
  protected readonly merged = computed(
    () => this.setup.value()?.merge(this.base, this.mine, this.theirs.source) ?? null,
  );
  protected readonly text = linkedSignal(() => this.merged()?.text ?? '');

  /** What is written while merging does not go with a key that is pressed too much. */
  protected merge(on: boolean): void {
    this.merging.set(on);
    this.ref.disableClose = on;
    setTimeout(() => this.title().nativeElement.focus()); // the button that was pressed is gone
  }
}
