import { Label } from '@pf/Label'
import CheckCircleIcon from '@icons/check-circle-icon'
import ExclamationCircleIcon from '@icons/exclamation-circle-icon'
import ExclamationTriangleIcon from '@icons/exclamation-triangle-icon'
import ArrowCircleUpIcon from '@icons/arrow-circle-up-icon'
import InProgressIcon from '@icons/in-progress-icon'
import MinusCircleIcon from '@icons/minus-circle-icon'
import OutlinedClockIcon from '@icons/outlined-clock-icon'
import UnknownIcon from '@icons/unknown-icon'
import type { ComponentType } from 'react'
import { useTexts } from '../preferences'
import type { Texts } from '../i18n/en'

export type State = keyof Texts['states']

interface Look {
  color: 'green' | 'blue' | 'orange' | 'red' | 'grey' | 'teal'
  icon: ComponentType
}

const done: Look = { color: 'green', icon: CheckCircleIcon }
const active: Look = { color: 'blue', icon: InProgressIcon }
const attention: Look = { color: 'orange', icon: ExclamationTriangleIcon }
const failed: Look = { color: 'red', icon: ExclamationCircleIcon }
const later: Look = { color: 'grey', icon: OutlinedClockIcon }
const upgradeable: Look = { color: 'teal', icon: ArrowCircleUpIcon }
const out: Look = { color: 'grey', icon: MinusCircleIcon }

const looks: Record<State, Look> = {
  Done: done,
  Active: active,
  Attention: attention,
  Failed: failed,
  Waiting: later,
  Connected: done,
  Disconnected: failed,
  Unknown: { color: 'grey', icon: UnknownIcon },
  Current: done,
  Pending: upgradeable,
  Moving: active,
  Moved: done,
  Excluded: out,
  Unsupported: out,
  NotInstalled: out,
  Upgradeable: upgradeable,
  Upgrading: active,
}

/** The colour and the icon of a state: never the colour alone. */
export const lookOf = (state: State): Look => looks[state]

/** A state of anything, in the language of the user; text replaces the word. */
export function StateLabel({ state, text }: { state: State; text?: string }) {
  const t = useTexts()
  const { color, icon: Icon } = looks[state]
  return (
    <Label color={color} icon={<Icon />} isCompact variant="outline">
      {text ?? t.states[state]}
    </Label>
  )
}
