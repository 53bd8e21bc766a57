//! What fsck can complain about: the message ids and their severities, as in git's
//! `Documentation/fsck-msgids.adoc`.

use std::fmt;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// An error that no setting turns off.
    Fatal,
    /// The object is refused.
    Error,
    /// Somebody is told.
    Warn,
    /// Somebody is told, also where warnings count as errors.
    Info,
    /// Nobody is told.
    Ignore,
}

impl Severity {
    /// Whether an object with such a finding is refused.
    pub const fn is_error(self) -> bool {
        matches!(self, Severity::Fatal | Severity::Error)
    }
}

/// One complaint about one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Which check complains.
    pub id: MsgId,
    /// How bad it is, all settings considered; never [`Severity::Ignore`].
    pub severity: Severity,
    /// The complaint in git's words, without the id.
    pub message: String,
}

impl fmt::Display for Finding {
    /// The id and the complaint, as git prints them behind `object <id>: `.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.id.camel_name(), self.message)
    }
}

macro_rules! message_ids {
    ($($(#[$doc:meta])* $id:ident $name:literal $severity:ident,)*) => {
        /// A check, by git's name for it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum MsgId {
            $($(#[$doc])* $id,)*
        }

        impl MsgId {
            /// Every check, the ones over refs included: settings may name any of them.
            pub const ALL: &[MsgId] = &[$(MsgId::$id),*];

            /// The name in settings and messages, like `missingSpaceBeforeDate`.
            pub const fn camel_name(self) -> &'static str {
                match self {
                    $(MsgId::$id => $name,)*
                }
            }

            /// How bad a finding is where no setting says otherwise.
            pub const fn default_severity(self) -> Severity {
                match self {
                    $(MsgId::$id => Severity::$severity,)*
                }
            }
        }
    };
}

impl MsgId {
    /// The check of this name, in whatever case.
    pub fn from_name(name: &[u8]) -> Option<MsgId> {
        Self::ALL.iter().copied().find(|id| id.camel_name().as_bytes().eq_ignore_ascii_case(name))
    }
}

message_ids! {
    /// A NUL stands in the header of a commit or tag.
    NulInHeader "nulInHeader" Fatal,
    /// The header of a commit or tag does not end with a newline.
    UnterminatedHeader "unterminatedHeader" Fatal,
    /// A continuation line of a header has no end.
    BadHeaderContinuation "badHeaderContinuation" Error,
    /// A date is not a number.
    BadDate "badDate" Error,
    /// A date does not fit 63 bits.
    BadDateOverflow "badDateOverflow" Error,
    /// An email holds `<` or has no end.
    BadEmail "badEmail" Error,
    /// A signature header of a tag has no end.
    BadGpgsig "badGpgsig" Error,
    /// `HEAD` does not point at a branch.
    BadHeadTarget "badHeadTarget" Error,
    /// A name holds `>`.
    BadName "badName" Error,
    /// The object line of a tag holds no id.
    BadObjectSha1 "badObjectSha1" Error,
    /// A line of packed-refs is malformed.
    BadPackedRefEntry "badPackedRefEntry" Error,
    /// The first line of packed-refs is malformed.
    BadPackedRefHeader "badPackedRefHeader" Error,
    /// A parent line holds no id.
    BadParentSha1 "badParentSha1" Error,
    /// A symbolic ref points at a malformed name.
    BadReferentName "badReferentName" Error,
    /// A ref file holds no id.
    BadRefContent "badRefContent" Error,
    /// A ref file is neither a file nor a link.
    BadRefFiletype "badRefFiletype" Error,
    /// The name of a ref is malformed.
    BadRefName "badRefName" Error,
    /// A ref points at an unusable id.
    BadRefOid "badRefOid" Error,
    /// A time zone is not a sign and four digits.
    BadTimezone "badTimezone" Error,
    /// A tree cannot be parsed.
    BadTree "badTree" Error,
    /// The tree line of a commit holds no id.
    BadTreeSha1 "badTreeSha1" Error,
    /// The type line of a tag names no kind.
    BadType "badType" Error,
    /// A tree has two entries of one name.
    DuplicateEntries "duplicateEntries" Error,
    /// A `.gitattributes` entry is not a blob.
    GitattributesBlob "gitattributesBlob" Error,
    /// A `.gitattributes` file is too large to read.
    GitattributesLarge "gitattributesLarge" Error,
    /// A `.gitattributes` file has a line that is too long.
    GitattributesLineLength "gitattributesLineLength" Error,
    /// A `.gitattributes` blob is missing.
    GitattributesMissing "gitattributesMissing" Error,
    /// A `.gitmodules` entry is not a blob.
    GitmodulesBlob "gitmodulesBlob" Error,
    /// A `.gitmodules` file is too large to read.
    GitmodulesLarge "gitmodulesLarge" Error,
    /// A `.gitmodules` blob is missing.
    GitmodulesMissing "gitmodulesMissing" Error,
    /// A submodule has a name that could leave its directory.
    GitmodulesName "gitmodulesName" Error,
    /// A submodule has a path that looks like an option.
    GitmodulesPath "gitmodulesPath" Error,
    /// `.gitmodules` is a symbolic link.
    GitmodulesSymlink "gitmodulesSymlink" Error,
    /// A submodule names a command to run.
    GitmodulesUpdate "gitmodulesUpdate" Error,
    /// A submodule has a dangerous URL.
    GitmodulesUrl "gitmodulesUrl" Error,
    /// A commit has no author line.
    MissingAuthor "missingAuthor" Error,
    /// A commit has no committer line.
    MissingCommitter "missingCommitter" Error,
    /// A person has no email.
    MissingEmail "missingEmail" Error,
    /// A person has nothing in front of the email.
    MissingNameBeforeEmail "missingNameBeforeEmail" Error,
    /// A tag has no object line.
    MissingObject "missingObject" Error,
    /// No space stands between email and date.
    MissingSpaceBeforeDate "missingSpaceBeforeDate" Error,
    /// No space stands between name and email.
    MissingSpaceBeforeEmail "missingSpaceBeforeEmail" Error,
    /// The tag line of a tag has no end.
    MissingTag "missingTag" Error,
    /// A tag has no tag line.
    MissingTagEntry "missingTagEntry" Error,
    /// A commit has no tree line.
    MissingTree "missingTree" Error,
    /// The type line of a tag has no end.
    MissingType "missingType" Error,
    /// A tag has no type line.
    MissingTypeEntry "missingTypeEntry" Error,
    /// A commit has more than one author line.
    MultipleAuthors "multipleAuthors" Error,
    /// The last line of packed-refs has no end.
    PackedRefEntryNotTerminated "packedRefEntryNotTerminated" Error,
    /// packed-refs says it is sorted and is not.
    PackedRefUnsorted "packedRefUnsorted" Error,
    /// The entries of a tree are out of order.
    TreeNotSorted "treeNotSorted" Error,
    /// An object is of no known kind.
    UnknownType "unknownType" Error,
    /// A date begins with a superfluous zero.
    ZeroPaddedDate "zeroPaddedDate" Error,
    /// A table of a reftable stack has an odd name.
    BadReftableTableName "badReftableTableName" Warn,
    /// A tree entry has no name.
    EmptyName "emptyName" Warn,
    /// A tree entry has a `/` in its name.
    FullPathname "fullPathname" Warn,
    /// A tree entry is named `.`.
    HasDot "hasDot" Warn,
    /// A tree entry is named `..`.
    HasDotdot "hasDotdot" Warn,
    /// A tree entry is `.git` in the eyes of some file system.
    HasDotgit "hasDotgit" Warn,
    /// A tree entry has a very long name.
    LargePathname "largePathname" Warn,
    /// A tree entry points at the all-zero id.
    NullSha1 "nullSha1" Warn,
    /// A NUL stands in the message of a commit.
    NulInCommit "nulInCommit" Warn,
    /// The mode of a tree entry begins with a zero.
    ZeroPaddedFilemode "zeroPaddedFilemode" Warn,
    /// A tree entry has a mode that git does not write.
    BadFilemode "badFilemode" Info,
    /// The name in a tag could not be a ref below `refs/tags/`.
    BadTagName "badTagName" Info,
    /// packed-refs is empty.
    EmptyPackedRefsFile "emptyPackedRefsFile" Info,
    /// `.gitattributes` is a symbolic link.
    GitattributesSymlink "gitattributesSymlink" Info,
    /// `.gitignore` is a symbolic link.
    GitignoreSymlink "gitignoreSymlink" Info,
    /// A `.gitmodules` file breaks the grammar of configuration.
    GitmodulesParse "gitmodulesParse" Info,
    /// `.mailmap` is a symbolic link.
    MailmapSymlink "mailmapSymlink" Info,
    /// A tag has no tagger line.
    MissingTaggerEntry "missingTaggerEntry" Info,
    /// A ref file does not end with a newline.
    RefMissingNewline "refMissingNewline" Info,
    /// A symbolic ref is a symbolic link.
    SymlinkRef "symlinkRef" Info,
    /// A symbolic ref points outside of `refs/`.
    SymrefTargetIsNotARef "symrefTargetIsNotARef" Info,
    /// Something follows the id in a ref file.
    TrailingRefContent "trailingRefContent" Info,
    /// A tag has headers behind the tagger line.
    ExtraHeaderEntry "extraHeaderEntry" Ignore,
}
