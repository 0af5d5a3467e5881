//! What the author wrote: the attributes of a message and of its fields, checked as far as syntax allows.

use proc_macro2::Span;
use syn::meta::ParseNestedMeta;
use syn::parse::ParseStream;
use syn::{
    Attribute, Data, DeriveInput, Error, Expr, Field, Fields, GenericArgument, Ident, LitInt, PathArguments,
    Result, Token, Type,
};

/// A range of versions; `last` is `None` for "and all later ones".
#[derive(Clone, Copy, PartialEq)]
pub(crate) struct Versions {
    pub(crate) first: i16,
    pub(crate) last: Option<i16>,
}

impl Versions {
    pub(crate) const ALL: Versions = Versions { first: 0, last: None };

    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let first: LitInt = input.parse()?;
        let span = first.span();
        let first = first.base10_parse::<i16>()?;
        let last = if input.peek(Token![..=]) {
            input.parse::<Token![..=]>()?;
            Some(input.parse::<LitInt>()?.base10_parse::<i16>()?)
        } else if input.peek(Token![..]) {
            input.parse::<Token![..]>()?;
            if input.peek(LitInt) {
                return Err(input.error("write an inclusive range, `3..=12`, or an open one, `3..`"));
            }
            None
        } else {
            Some(first)
        };
        if last.is_some_and(|last| last < first) {
            return Err(Error::new(span, "this range of versions is empty"));
        }
        Ok(Versions { first, last })
    }

    fn contains(self, other: Versions) -> bool {
        let ends_in_time = match (self.last, other.last) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(ours), Some(theirs)) => theirs <= ours,
        };
        self.first <= other.first && ends_in_time
    }
}

/// `#[message(...)]`.
pub(crate) struct MessageAttributes {
    pub(crate) first: i16,
    pub(crate) last: i16,
    pub(crate) flexible: Option<i16>,
}

impl MessageAttributes {
    pub(crate) fn read(input: &DeriveInput) -> Result<Self> {
        let mut versions = None;
        let mut flexible = None;
        for attribute in input.attrs.iter().filter(|attribute| attribute.path().is_ident("message")) {
            attribute.parse_nested_meta(|meta| {
                if meta.path.is_ident("versions") {
                    set(&mut versions, &meta, Versions::parse(meta.value()?)?)
                } else if meta.path.is_ident("flexible") {
                    set(&mut flexible, &meta, meta.value()?.parse::<LitInt>()?.base10_parse::<i16>()?)
                } else {
                    Err(meta.error("expected `versions` or `flexible`"))
                }
            })?;
        }
        let example = "a message states its versions: #[message(versions = 3..=13, flexible = 9)]";
        match versions {
            Some(Versions { first, last: Some(last) }) => Ok(MessageAttributes { first, last, flexible }),
            Some(_) => Err(Error::new(input.ident.span(), format!("the last version is missing; {example}"))),
            None => Err(Error::new(input.ident.span(), example)),
        }
    }
}

/// The kinds of a field's Rust type that the generated code must tell apart.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Shape {
    Bool,
    Integer,
    Option,
    Other,
}

/// One field as declared.
pub(crate) struct FieldDeclaration<'a> {
    pub(crate) ident: &'a Ident,
    pub(crate) ty: &'a Type,
    pub(crate) shape: Shape,
    pub(crate) versions: Versions,
    /// `None` when null is never allowed.
    pub(crate) nullable: Option<Versions>,
    pub(crate) default: Option<Expr>,
    pub(crate) tag: Option<u32>,
    /// Whether its absence means empty, though it could be null.
    pub(crate) absent_is_empty: bool,
    /// Whether it is a structure that can be null.
    pub(crate) nullable_structure: bool,
    pub(crate) ignorable: bool,
    pub(crate) records: bool,
}

impl<'a> FieldDeclaration<'a> {
    pub(crate) fn read_all(input: &'a DeriveInput) -> Result<Vec<Self>> {
        let Data::Struct(data) = &input.data else {
            return Err(Error::new(input.ident.span(), "only a struct can be a message or part of one"));
        };
        let Fields::Named(named) = &data.fields else {
            return Err(Error::new(input.ident.span(), "the fields of a message have names"));
        };
        if !input.generics.params.is_empty() {
            return Err(Error::new(input.ident.span(), "a message has no generic parameters"));
        }
        let fields = named.named.iter().map(Self::read).collect::<Result<Vec<_>>>()?;
        check_tags(&fields)?;
        Ok(fields)
    }

    fn read(field: &'a Field) -> Result<Self> {
        let ident =
            field.ident.as_ref().ok_or_else(|| Error::new(Span::call_site(), "a field has a name"))?;
        let (shape, inner) = shape_of(&field.ty);
        let mut versions = None;
        let mut nullable = None;
        let mut default = None;
        let mut tag = None;
        let mut absent_is_empty = None;
        let mut ignorable = None;
        let mut records = None;
        for attribute in
            field.attrs.iter().filter(|attribute: &&Attribute| attribute.path().is_ident("field"))
        {
            attribute.parse_nested_meta(|meta| {
                if meta.path.is_ident("versions") {
                    set(&mut versions, &meta, Versions::parse(meta.value()?)?)
                } else if meta.path.is_ident("nullable") {
                    set(&mut nullable, &meta, Versions::parse(meta.value()?)?)
                } else if meta.path.is_ident("default") {
                    set(&mut default, &meta, meta.value()?.parse::<Expr>()?)
                } else if meta.path.is_ident("tag") {
                    set(&mut tag, &meta, meta.value()?.parse::<LitInt>()?.base10_parse::<u32>()?)
                } else if meta.path.is_ident("absent_is_empty") {
                    set(&mut absent_is_empty, &meta, ())
                } else if meta.path.is_ident("ignorable") {
                    set(&mut ignorable, &meta, ())
                } else if meta.path.is_ident("records") {
                    set(&mut records, &meta, ())
                } else {
                    Err(meta.error(
                        "expected `versions`, `nullable`, `default`, `tag`, `absent_is_empty`, `ignorable` or `records`",
                    ))
                }
            })?;
        }
        let fail = |text: &str| Err(Error::new(ident.span(), text));
        let versions = versions.unwrap_or(Versions::ALL);
        if nullable.is_some() && shape != Shape::Option {
            return fail("only an Option can be nullable");
        }
        if nullable.is_some_and(|nullable| !versions.contains(nullable)) {
            return fail("this field is nullable at a version that does not carry it");
        }
        if nullable.is_some_and(|nullable| nullable != versions) && !marks_null_in_its_length(inner) {
            return fail("a structure is nullable at every version that carries it, or at none");
        }
        if records.is_some() && last_segment(inner).is_none_or(|name| name != "Bytes") {
            return fail("records are `Bytes` or `Option<Bytes>`");
        }
        if default.is_some() && !matches!(shape, Shape::Bool | Shape::Integer) {
            return fail("only an integer or a bool has a default other than zero, empty or None");
        }
        if absent_is_empty.is_some() && (tag.is_none() || shape != Shape::Option) {
            return fail("only an Option with a tag can be absent and yet not null");
        }
        Ok(FieldDeclaration {
            ident,
            ty: &field.ty,
            shape,
            versions,
            nullable: (shape == Shape::Option).then(|| nullable.unwrap_or(versions)),
            default,
            tag,
            absent_is_empty: absent_is_empty.is_some(),
            nullable_structure: shape == Shape::Option && !marks_null_in_its_length(inner),
            ignorable: ignorable.is_some(),
            records: records.is_some(),
        })
    }
}

fn set<T>(slot: &mut Option<T>, meta: &ParseNestedMeta<'_>, value: T) -> Result<()> {
    if slot.replace(value).is_some() {
        return Err(meta.error("stated twice"));
    }
    Ok(())
}

/// Kafka numbers the tagged fields of a structure from zero without a gap.
fn check_tags(fields: &[FieldDeclaration<'_>]) -> Result<()> {
    let mut tags: Vec<_> =
        fields.iter().filter_map(|field| field.tag.map(|tag| (tag, field.ident))).collect();
    tags.sort_by_key(|(tag, _)| *tag);
    for (expected, (tag, ident)) in (0u32..).zip(tags) {
        if tag != expected {
            return Err(Error::new(
                ident.span(),
                format!("tags count up from 0: expected {expected}, found {tag}"),
            ));
        }
    }
    Ok(())
}

/// The shape of a type and, for an Option, what is in it.
fn shape_of(ty: &Type) -> (Shape, &Type) {
    match last_segment(ty).map(ToString::to_string).as_deref() {
        Some("bool") => (Shape::Bool, ty),
        Some("i8" | "i16" | "u16" | "i32" | "i64") => (Shape::Integer, ty),
        Some("Option") => (Shape::Option, first_argument(ty).unwrap_or(ty)),
        _ => (Shape::Other, ty),
    }
}

fn marks_null_in_its_length(ty: &Type) -> bool {
    last_segment(ty).is_some_and(|name| name == "Text" || name == "Bytes" || name == "Vec")
}

fn last_segment(ty: &Type) -> Option<&Ident> {
    match ty {
        Type::Path(path) => path.path.segments.last().map(|segment| &segment.ident),
        _ => None,
    }
}

fn first_argument(ty: &Type) -> Option<&Type> {
    let Type::Path(path) = ty else { return None };
    let PathArguments::AngleBracketed(arguments) = &path.path.segments.last()?.arguments else { return None };
    arguments.args.iter().find_map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use syn::parse_quote;

    use super::*;

    /// Why a field is refused.
    fn refusal(field: Field) -> String {
        let input: DeriveInput = parse_quote!(struct Part { #field });
        FieldDeclaration::read_all(&input).err().map(|error| error.to_string()).unwrap_or_default()
    }

    fn named(field: proc_macro2::TokenStream) -> Field {
        syn::parse::Parser::parse2(Field::parse_named, field).unwrap()
    }

    #[test]
    fn a_field_is_read_as_declared() {
        let input: DeriveInput = parse_quote! {
            struct Part {
                #[field(versions = 3..=12, nullable = 5..=12, ignorable)]
                name: Option<Text>,
                #[field(versions = 4.., tag = 0, default = -1)]
                epoch: i32,
                #[field(versions = 7, records)]
                records: Bytes,
            }
        };
        let fields = FieldDeclaration::read_all(&input).unwrap();
        let versions = |first, last| Versions { first, last };
        assert!(
            fields[0].versions == versions(3, Some(12)) && fields[0].nullable == Some(versions(5, Some(12)))
        );
        assert!(fields[0].ignorable && fields[0].tag.is_none());
        assert!(fields[1].versions == versions(4, None) && fields[1].nullable.is_none());
        assert!(fields[1].tag == Some(0) && fields[1].default.is_some());
        assert!(fields[2].versions == versions(7, Some(7)) && fields[2].records);
    }

    #[test]
    fn a_wrong_field_is_refused_in_words() {
        for (field, expected) in [
            (quote::quote!(#[field(version = 3)] a: i32), "expected `versions`, `nullable`"),
            (quote::quote!(#[field(versions = 3..5)] a: i32), "write an inclusive range"),
            (quote::quote!(#[field(versions = 5..=3)] a: i32), "this range of versions is empty"),
            (quote::quote!(#[field(versions = 3, versions = 4)] a: i32), "stated twice"),
            (quote::quote!(#[field(nullable = 3..)] a: Text), "only an Option can be nullable"),
            (quote::quote!(#[field(versions = 3.., nullable = 2..)] a: Option<Text>), "does not carry it"),
            (
                quote::quote!(#[field(nullable = 2..)] a: Option<Cursor>),
                "a structure is nullable at every version",
            ),
            (quote::quote!(#[field(records)] a: Text), "records are `Bytes`"),
            (quote::quote!(#[field(default = 3)] a: Text), "only an integer or a bool"),
            (quote::quote!(#[field(tag = 1)] a: i32), "tags count up from 0"),
            (quote::quote!(#[field(absent_is_empty)] a: Option<Text>), "only an Option with a tag"),
            (quote::quote!(#[field(absent_is_empty, tag = 0)] a: Text), "only an Option with a tag"),
        ] {
            let refusal = refusal(named(field));
            assert!(refusal.contains(expected), "{refusal:?} should contain {expected:?}");
        }
    }

    #[test]
    fn a_message_states_its_first_and_last_version() {
        let read = |input: DeriveInput| MessageAttributes::read(&input).map_err(|error| error.to_string());
        let read = |input| read(input).map(|read| (read.first, read.last, read.flexible));
        assert_eq!(
            read(parse_quote!(
                #[message(versions = 3..=13, flexible = 9)]
                struct A {}
            )),
            Ok((3, 13, Some(9)))
        );
        assert_eq!(
            read(parse_quote!(
                #[message(versions = 0)]
                struct A {}
            )),
            Ok((0, 0, None))
        );
        let no_last = read(parse_quote!(
            #[message(versions = 3..)]
            struct A {}
        ))
        .unwrap_err();
        assert!(no_last.contains("the last version is missing"), "{no_last}");
        assert!(
            read(parse_quote!(
                struct A {}
            ))
            .unwrap_err()
            .contains("a message states its versions")
        );
    }
}
